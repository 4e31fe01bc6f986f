"""How many blocks do we want? Pure."""
