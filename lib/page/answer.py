"""The answer of a study as it stands in README: the sentences that its report has saved."""

from lib.tables.store import load_table


def markdown() -> str:
    """The answer as a Markdown list. ValueError where no report has been made yet."""
    saved = load_table("10_answer")
    if saved.empty:
        raise ValueError("no report has saved an answer yet; run ./run_all.sh report first")
    return "\n".join(f"- {sentence}" for sentence in saved.sentence)
