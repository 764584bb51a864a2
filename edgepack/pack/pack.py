"""Graph -> Artifact: one file with the model and all that proves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from edgepack.artifact.format import CARD, DATA, LARGEST, MODEL, ORT_MODEL, SAMPLE
from edgepack.artifact.manifest import Golden, Isa, Name, Operation, Runtime, Version, Word
from edgepack.base import Context, PackPass, StepRecord
from edgepack.errors import ModelError
from edgepack.pack.card import card
from edgepack.pack.golden import make_vectors, room
from edgepack.pack.ort import to_ort
from edgepack.pack.sample import SAMPLE as SAMPLE_TEXT
from edgepack.types import SessionSettings, Tolerance

if TYPE_CHECKING:
    from edgepack.artifact import Artifact
    from edgepack.artifact.write import Content
    from edgepack.graph import Graph


LOOSE = Tolerance(exact=False, relative=0.25, cosine=0.999)
"""For runtimes that round in their own ways; OpenVINO computes float in bfloat16 where it can."""


class Pack(PackPass):
    """Packs the model, golden vectors, a model card and sample code into one `.edgepack` file."""

    name: ClassVar[str] = "pack"
    reads = frozenset({"evaluation", "calibration"})
    from_target: ClassVar[Mapping[str, str]] = {
        "artifact": "artifact",
        "target": "name",
        "arch": "isa.arch",
        "features": "isa.features",
        "runtime_package": "runtime.package",
        "runtime_minimum": "runtime.minimum",
        "runtime_maximum": "runtime.version",
        "threads": "runtime.threads",
        "optimization": "runtime.optimization",
        "providers": "runtime.providers",
        "entries": "runtime.entries",
        "exact": "runtime.exact",
        "ort": "package.ort",
        "samples": "package.samples",
        "state": "state",
        "preprocessing": "preprocessing",
    }

    artifact: Name = Field(description="Name of the artifact.")
    release: int = Field(1, ge=0, description="A number that grows with each release.")
    target: Name = Field(description="Name of the target.")
    arch: Word = Field(description="Instruction set: aarch64, x86_64.")
    features: tuple[Word, ...] = Field((), description="Features of it that may be used.")
    runtime_package: Word = Field("onnxruntime", description="Package that runs the model.")
    runtime_minimum: Version = Field("", description="Its oldest version; empty is no bound.")
    runtime_maximum: Version = Field("", description="Its newest version; empty is no bound.")
    threads: Annotated[int, Field(ge=1)] = Field(1, description="Intra-op threads.")
    optimization: Literal["disabled", "basic", "extended", "layout", "all"] = Field(
        "all", description="Graph optimisation level of the session."
    )
    providers: tuple[str, ...] = Field(
        ("CPUExecutionProvider",), description="Execution providers in order of preference."
    )
    entries: dict[str, str] = Field({}, description="Session config entries.")
    exact: bool = Field(True, description="The runtime rounds as ONNX Runtime's CPU provider does.")
    ort: bool = Field(False, description="Add the model as an .ort file for this target.")
    samples: bool = Field(True, description="Add code that runs the first golden vector.")
    preprocessing: tuple[Operation, ...] = Field(
        (), description="How files become inputs; the recipe's tables under [data]."
    )
    state: dict[str, str] = Field(
        {}, description='Inputs that take an output of the run before, e.g. `h = "hn"`.'
    )

    def apply(self, graph: Graph, context: Context) -> Artifact:
        """Return the artifact, written into the context's work folder.

        Raises:
            ModelError: E426 where no artifact can hold the weights, E480 to E482, or
                what the runner raises on the graph.
            ArtifactError: E630 when a name among the assets or fields breaks the format's rules.
        """
        from edgepack.artifact import write_artifact

        _refuse_too_large(graph)
        session = SessionSettings(
            threads=self.threads,
            optimization=self.optimization,
            providers=self.providers,
            entries=self.entries,
        )
        model = context.work / MODEL
        graph.write(model)
        files: dict[str, Content] = {MODEL: model}
        beside = model.with_name(DATA)
        if beside.exists():
            files[DATA] = beside
        if self.ort and beside.exists():
            context.events.note("no .ort form: the weights do not fit into one file of 2 GiB")
        elif self.ort:
            files[ORT_MODEL] = context.work / ORT_MODEL
            to_ort(model, context.work / ORT_MODEL, self.arch, session)
        vectors = make_vectors(graph, context, session, room(model.stat().st_size))
        _tell(vectors.golden, context)
        files |= vectors.files
        files |= {f"assets/{asset.name}": asset.path for asset in context.assets}
        if self.samples and vectors.golden.vectors:
            files[SAMPLE] = SAMPLE_TEXT.encode()
        fields = self._fields(graph, context, session, vectors.golden)
        sizes = {n: len(c) if isinstance(c, bytes) else c.stat().st_size for n, c in files.items()}
        files[CARD] = card(fields, sizes).encode()
        return write_artifact(
            fields, files, context.work / f"{self.artifact}-{self.target}.edgepack"
        )

    def _fields(
        self, graph: Graph, context: Context, session: SessionSettings, golden: Golden
    ) -> dict[str, Any]:
        """Return the manifest's fields besides the files."""
        options = self.model_dump(mode="json")
        own = StepRecord(name=self.name, version=self.version, options=options)
        return {
            "name": self.artifact,
            "release": self.release,
            "target": self.target,
            "isa": Isa(arch=self.arch, features=self.features),
            "runtime": Runtime(
                package=self.runtime_package,
                minimum=self.runtime_minimum,
                maximum=self.runtime_maximum,
            ),
            "session": session,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "preprocessing": self.preprocessing,
            "postprocessing": (),
            "tokenizer": tuple(sorted(f"assets/{asset.name}" for asset in context.assets)),
            "scheme": graph.scheme,
            "tolerance": graph.tolerance if self.exact else LOOSE,
            "golden": golden,
            "passes": (*context.lineage, own),
            "seed": context.seed,
            "edgepack": context.facts["edgepack"],
            "source": context.facts["source"],
            "data": context.facts["data"],
            "key_id": None,
            "critical": (),
            **({"state": self.state} if self.state else {}),
        }


def _refuse_too_large(graph: Graph) -> None:
    """Refuse weights that no artifact can hold, before they are written."""
    size = graph.weight
    if size > LARGEST:
        raise ModelError(
            "E426",
            "the weights are larger than an artifact can be",
            why=f"they are {size / 1e9:.1f} GB, and an artifact holds {LARGEST / 1e9:.1f} GB",
            fix="quantise the model, or choose a smaller one",
        )


def _tell(golden: Golden, context: Context) -> None:
    """Say what the vectors are, and what they cannot prove."""
    shapes = {str([list(t.shape) for t in vector.inputs]) for vector in golden.vectors}
    context.events.decision({"vectors": len(golden.vectors), "shapes": sorted(shapes)})
    if not golden.vectors:
        context.events.note("no data: the artifact holds no golden vectors and cannot be verified")
    elif golden.generated:
        context.events.note("golden vectors come from made-up inputs, for want of data")
