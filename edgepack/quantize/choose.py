"""Which scheme a graph gets: a decision by rule, with a reason for every scheme refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from edgepack.errors import ModelError
from edgepack.quantize.survey import Survey
from edgepack.types import Frozen

Scheme: TypeAlias = Literal["w8a8-static", "w8-dynamic", "float"]
Calibration: TypeAlias = Literal["given", "generated", "none"]


class Candidate(Frozen):
    """One scheme that was considered."""

    scheme: Scheme
    chosen: bool
    reason: str


class SchemeDecision(Frozen):
    """The scheme taken and what spoke for and against each one."""

    scheme: Scheme
    candidates: tuple[Candidate, ...]


def choose(survey: Survey, calibration: Calibration, schemes: Sequence[Scheme]) -> SchemeDecision:
    """Take the first scheme of the target's preference that suits the graph; float always does.

    1. Recurrent graphs stay float: nothing here quantises the recurrence itself.
    2. Convolutions want static. Dynamic quantisation measures every activation before each
       convolution and was 5 to 10 times slower than float on convolutional networks.
    3. Products of matrices want dynamic where the target has it: on MiniLM it was as fast as
       static, nearer to float (cosine .994 against .991) and needs no calibration.
    """
    ordered: list[Scheme] = [*dict.fromkeys(s for s in schemes if s != "float"), "float"]
    taken: Scheme | None = None
    candidates = []
    for scheme in ordered:
        against = _against(scheme, survey, calibration, "w8-dynamic" in ordered)
        chosen = taken is None and not against
        taken = scheme if chosen else taken
        reason = against or (_for(scheme, survey) if chosen else f"{taken} comes before it")
        candidates.append(Candidate(scheme=scheme, chosen=chosen, reason=reason))
    assert taken is not None  # nothing speaks against float
    return SchemeDecision(scheme=taken, candidates=tuple(candidates))


def insist(scheme: Scheme, survey: Survey, calibration: Calibration) -> SchemeDecision:
    """Take the scheme that the recipe asks for.

    Raises:
        ModelError: E450 for static without real calibration data, E455 where nothing can be
            quantised.
    """
    if scheme == "w8a8-static" and calibration != "given":
        raise ModelError(
            "E450",
            "the scheme `w8a8-static` needs calibration data",
            why=_UNCALIBRATED[calibration],
            fix='add `calibration = "..."` under [data], or choose scheme = "w8-dynamic"',
        )
    layers = survey.products + (survey.convolutions if scheme == "w8a8-static" else 0)
    if scheme != "float" and not layers:
        raise ModelError(
            "E455",
            f"the scheme `{scheme}` finds nothing to quantise",
            why=f"{survey.products} matrix products and {survey.convolutions} convolutions have "
            "constant float weights",
            fix='choose scheme = "auto" or "float"',
        )
    chosen = Candidate(scheme=scheme, chosen=True, reason="the recipe asks for it")
    return SchemeDecision(scheme=scheme, candidates=(chosen,))


_UNCALIBRATED: dict[Calibration, str] = {
    "none": "there is no calibration data",
    "generated": "the calibration samples were made up, and so would be the ranges",
    "given": "",
}


def _against(scheme: Scheme, survey: Survey, calibration: Calibration, dynamic: bool) -> str:
    """Return what speaks against a scheme, or nothing."""
    if scheme == "float":
        return ""
    if survey.recurrent:
        return f"{survey.recurrent} recurrent layers carry the work and stay float"
    if not survey.convolutions + survey.products:
        return "no convolution and no matrix product has constant float weights"
    if scheme == "w8-dynamic":
        slower = "convolutions carry the work; quantised dynamically they run slower than float"
        return slower if survey.convolutional else _no_products(survey)
    if not survey.convolutional and dynamic:
        return "matrix products carry the work; dynamic is as fast and nearer to float"
    return _UNCALIBRATED[calibration]


def _no_products(survey: Survey) -> str:
    return "" if survey.products else "no matrix product has constant float weights"


def _for(scheme: Scheme, survey: Survey) -> str:
    """Return what speaks for a scheme that nothing speaks against."""
    if scheme == "float":
        return "nothing else applies"
    if scheme == "w8-dynamic":
        return f"{survey.products} matrix products carry the work; needs no calibration"
    if survey.convolutional:
        return f"{survey.convolutions} convolutions carry the work and run wholly in integers"
    return f"{survey.products} matrix products carry the work"
