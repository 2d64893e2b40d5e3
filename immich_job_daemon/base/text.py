"""Text from outside the daemon, made one safe line."""


def one_line(text: str, *, longest: int | None = None) -> str:
    r"""Return ``text`` as one printable line of at most ``longest`` characters.

    Newlines, control characters, terminal colours and characters that change the direction of
    writing are escaped, so that text from a server or a user cannot forge a log line.

    >>> print(one_line("no\n[19:07:31] INFO: all is well \x1b[2K"))
    no\n[19:07:31] INFO: all is well \x1b[2K
    >>> one_line("Bad gateway", longest=9)
    'Bad ga...'
    """
    # The text may be a whole response: escaping only what can fit keeps this fast.
    line = text if longest is None else text[: longest + 1]
    if not line.isprintable():
        line = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line
        )
    if longest is None or len(line) <= longest:
        return line
    return f"{line[: longest - 3]}..."
