"""What a list is narrowed down to, as SQL."""


def given(always: str, *wanted: tuple[str, object]) -> str:
    """``always``, and each condition whose value was given; None is not given, False and 0 are.

    What is not given has no place in the text: a plan that is kept for any value walks the whole table.
    """
    return " AND ".join([always, *(condition for condition, value in wanted if value is not None)])
