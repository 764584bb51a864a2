"""The page of results: tables of ratios to ONNX Runtime's float model, and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peers.builds import FLOAT
from peers.cases import Case
from peers.measured import Measured

BAR, GAP, LEFT, WIDE = 16, 6, 250, 900
COLOURS = ("#4878a8", "#c0672b")
"""Of peers, and of edgepack."""
INTRODUCTION = """# Benchmarks beside the peers

`make bench-peers` writes this page. Every peer works in an environment of its own, from the same
weights and calibration data; its model is then loaded in a process of its own and asked over a
pipe, all of a case in turn, round by round, so that a machine that slows down slows all
alike. Ratios are of medians, to ONNX Runtime's float model; above 1 is faster, or smaller. One
thread is timed by the processor's clock, two by the wall's. Batch 1.

- **cosine**: to the float model's answers, mean and worst; for MiniLM, over the states of the
  tokens that are not padding, **padded** in a batch of 8 sentences of different lengths.
- **MB at run**: peak resident memory of the process that answers, its Python included.
- **build**: seconds from the start of the interpreter; the peers' scripts that take ONNX start from
  the plain export. edgepack's is `scheme = "auto"` whole: every scheme tried, judged and proven.
- **LiteRT** is converted in float; **OpenVINO** computes in bfloat16 where the processor does.
"""


def page(
    cases: Mapping[str, Case], found: Mapping[str, Sequence[Measured]], machine: str, bars: str
) -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION, f"Measured on {machine}.\n", "![Speed](benchmarks.svg)\n"]
    for name, rows in found.items():
        parts += [f"## {cases[name].title}\n", table(cases[name], rows)]
    return "\n".join([*parts, "## Bars\n", bars, ""])


def table(case: Case, rows: Sequence[Measured]) -> str:
    """Return one case's table; a candidate that failed is a row with its error."""
    first = next(row for row in rows if row.candidate.name == FLOAT)
    speeds = [(question, threads) for threads in (1, 2) for question in case.timed]
    heads = ["", *(f"{q}, {t} thread{'s' * (t > 1)}" for q, t in speeds), "p50 ms", "size"]
    heads += ["cosine", "padded"] if case.name == "minilm" else ["cosine"]
    heads += [f"right of {len(case.labels)}"] if case.labels else []
    heads += ["MB at run", "build s"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        name = f"**{row.candidate.name}**" if _ours(row) else row.candidate.name
        if row.error:
            lines.append([name, f"failed: {row.error.replace('|', '/')}", *[""] * (len(heads) - 2)])
            continue
        cells = [name, *(_ratio(first.median(q, t), row.median(q, t)) for q, t in speeds)]
        cells.append("/".join(_ms(row.median(q)) for q in case.timed))
        cells.append(f"{first.candidate.size / row.candidate.size:.2f}")
        cells += [_near(row.cosines)] + ([_near(row.padded)] if case.name == "minilm" else [])
        cells += [str(row.right)] if case.labels else []
        cells += [f"{row.memory / 1e6:.0f}", f"{row.candidate.seconds:.0f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def plot(cases: Mapping[str, Case], found: Mapping[str, Sequence[Measured]]) -> str:
    """Return bars of the speed with one thread as an SVG picture."""
    parts: list[str] = []
    y = 10
    for name, rows in found.items():
        first = next(row for row in rows if row.candidate.name == FLOAT)
        for question in cases[name].timed:
            ratios = [
                (row, first.median(question) / row.median(question))
                for row in rows
                if not row.error and row.median(question) < float("inf")
            ]
            most = max(ratio for _, ratio in ratios)
            y += BAR
            title = f"{cases[name].title}, {question}: times as fast as ONNX Runtime float"
            parts.append(f'<text x="10" y="{y}" font-weight="bold">{title}</text>')
            for row, ratio in ratios:
                y += GAP
                wide = (WIDE - LEFT - 60) * ratio / most
                where = f'x="{LEFT}" y="{y}" width="{wide:.0f}" height="{BAR}"'
                parts.append(f'<rect {where} fill="{COLOURS[_ours(row)]}"/>')
                y += BAR
                label = f'<text x="{LEFT - 8}" y="{y - 4}" text-anchor="end">'
                parts.append(f"{label}{row.candidate.name}</text>")
                parts.append(f'<text x="{LEFT + wide + 6:.0f}" y="{y - 4}">{ratio:.2f}</text>')
            y += 2 * GAP
    style = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {y + 10}" {style}>'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])


def _ours(row: Measured) -> bool:
    return row.candidate.name.startswith("edgepack")


def _ratio(first: float, one: float) -> str:
    return "" if one == float("inf") else f"{first / one:.2f}"


def _ms(seconds: float) -> str:
    return "-" if seconds == float("inf") else f"{1e3 * seconds:.1f}"


def _near(cosines: Sequence[float]) -> str:
    return f"{sum(cosines) / len(cosines):.4f}, {min(cosines):.4f}" if cosines else "-"
