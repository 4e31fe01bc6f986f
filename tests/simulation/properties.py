SOMETIMES: tuple[str, ...] = ()
