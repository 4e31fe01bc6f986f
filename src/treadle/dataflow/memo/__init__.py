"""Memo keys: what a call is made of, as digests that name their parts."""
