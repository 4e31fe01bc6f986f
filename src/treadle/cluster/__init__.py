"""The shells of a cluster: processes, links, slots. They act; what they do is decided elsewhere."""
