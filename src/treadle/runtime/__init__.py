"""The engine thread, the pool for user code, and what a fork does to them."""
