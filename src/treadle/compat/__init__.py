"""Other systems' names for what Treadle does."""
