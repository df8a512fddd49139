"""Why a CTC model says nothing: the likely cause of empty transcripts, in words."""

from __future__ import annotations

# With fewer utterances a net trained from scratch seldom learns more than the blank.
FEW_UTTERANCES = 200


def explain_blanks(
    blank_share: float, epoch: int, epochs: int, utterances: int, frames_per_token: float, subsampling: int
) -> str:
    """One line for an epoch in which the greedy transcripts of the whole validation set were empty.

    Args:
        blank_share: share of the frames whose best token is the blank.
        epoch: how many are done.
        epochs: how many there will be.
        utterances: in the training set.
        frames_per_token: of the validation set.
        subsampling: input frames per frame of the encoder.
    """
    blanks = f"{100 * blank_share:.1f} % of the frames are blank"
    said = f"epoch {epoch}: every transcript of the validation set is empty, {blanks}; "
    if epoch <= max(5, epochs // 6):
        return said + "normal in the first epochs, in which CTC learns the blank before anything else"
    if frames_per_token < 2:
        return said + (
            f"likely cause: {frames_per_token:.1f} frames a token are too few (subsampling {subsampling}); "
            "lower front_end.stride_time or encoder.pyramid"
        )
    if utterances < FEW_UTTERANCES:
        return said + (
            f"likely cause: {utterances} training utterances are little data; add recordings, raise trainer.epochs or "
            "begin with init_from=MODEL"
        )
    return said + (
        "likely cause: the learning rate; try optimizer.learning_rate three times higher and three times lower, and "
        "check that the transcripts belong to the recordings"
    )
