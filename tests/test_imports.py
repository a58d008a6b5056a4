"""The import directions of the rooms: what lies on one level does not reach sideways or up."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up: a module imports from levels below its own only.
LEVELS = [
    ["_version", "aligned", "cuda_kernels.simulator", "interrupt", "jit", "timetable", "training.spikes"],
    [
        "buffers",
        "versions",
        "philox",
        "dynamics",
        "lanes",
        "model",
        "threads",
        "analysis",
        "labelling",
        "decoding",
        "cuda_kernels.target",
    ],
    ["plotting_frames", "plotting_style"],
    ["plotting_confusion", "plotting_conversion", "plotting_layers", "plotting_recordings", "plotting_tiles"],
    ["distributions", "lane_sums", "plotting", "tally", "learning", "weight_tiles", "cuda_kernels.machine_code"],
    ["checks", "plastic_dynamics", "cuda_kernels.phases", "encoding_kernels", "batch_model"],
    [
        "surrogates",
        "training.losses",
        "training.optimizers",
        "training.schedules",
        "training.groups",
        "training.reset_gradient",
        "training.eventprop_kernels",
    ],
    ["training.backward_kernels"],
    ["training.gathering_kernels", "training.neuron_kernels"],
    ["neurons"],
    [
        "arrival_kernels",
        "batch_delivery",
        "batch_frames",
        "batch_input",
        "batch_neurons",
        "batch_node",
        "batches",
        "connectivity",
        "layers",
        "neuron_checks",
        "plasticity",
        "poisson_kernels",
        "step_neurons",
        "learning_kernels",
        "cuda_kernels.advance",
        "cuda_kernels.columns",
    ],
    ["analog", "cuda_kernels.batch_frames", "cuda_kernels.batch_neurons"],
    [
        "cuda_kernels.backward_frames",
        "cuda_kernels.backward_neurons",
        "cuda_kernels.backward_weights",
        "cuda_kernels.batch_delivery",
        "torch_layers",
        "training.analog",
    ],
    [
        "batch_call",
        "batch_kernels",
        "cpu_kernels",
        "cuda_kernels.batch",
        "cuda_kernels.learn",
        "encoders",
        "io",
        "layer_paths",
        "layer_rows",
        "nir",
        "nir_layers",
        "sinabs",
        "snntorch",
        "spikingjelly",
    ],
    ["network", "construction", "nir_graph"],
    ["nir_inverse"],
    ["layout", "coefficients", "cuda_kernels.construction"],
    ["stimuli", "plastic", "rows"],
    ["memory", "synapses", "rates"],
    ["batch_weights"],
    ["batch_build", "cpu_maker", "cuda_kernels.maker"],
    [
        "batch_engine",
        "cuda_kernels.batch_engine",
        "build",
        "backend",
        "layer_description",
        "layer_network",
        "layer_record",
        "layer_summary",
        "layer_values",
    ],
    ["sequential", "learner", "recorder", "cpu_engine", "cuda_kernels.engine", "synapse_list", "nir_network"],
    ["nir_import"],
    ["training.images", "layer_frames", "convert"],
    ["training.record"],
    ["weights", "training.stepwise", "operations", "compare", "early_exit"],
    ["training.backward_pass"],
    ["cuda_kernels.backward_pass"],
    ["training.backward"],
    ["training.eventprop"],
    ["saved_network"],
    ["training.trainer", "accuracy"],
    ["diagnosis", "snapshots", "trained", "training"],
    ["simulation", "reference_networks"],
    ["nir_projections"],
    ["nir_export"],
    ["experiment", "nir_command", "cuda_kernels.kernel_table", "training_experiment"],
    ["__main__", "__init__"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Modules that may know less than lies below them.
ONLY = {
    "io": {"_version", "checks", "batch_input"},
    "decoding": set(),
    "batches": {"checks"},
    "analysis": set(),
    "labelling": set(),
    "plotting_frames": set(),
    "plotting_style": set(),
    "plotting_confusion": {"plotting_style"},
    "plotting_conversion": {"plotting_style"},
    "plotting_layers": {"plotting_frames", "plotting_style"},
    "plotting_recordings": {"analysis", "plotting_style"},
    "plotting_tiles": {"plotting_frames", "plotting_style"},
    "plotting": {
        "plotting_confusion",
        "plotting_conversion",
        "plotting_layers",
        "plotting_recordings",
        "plotting_style",
        "plotting_tiles",
    },
    "aligned": set(),
    "buffers": {"aligned"},
    "lanes": {"jit"},
    "lane_sums": {"lanes"},
    "dynamics": {"jit"},
    "tally": {"jit"},
    "encoding_kernels": {"jit", "lanes", "philox"},
    "batch_input": {"buffers", "checks", "encoding_kernels", "threads"},
    "encoders": {"checks", "batch_input", "encoding_kernels"},
    "plastic_dynamics": {"jit", "dynamics", "learning", "model"},
    "arrival_kernels": {"jit", "lanes", "lane_sums", "dynamics", "learning", "model", "plastic_dynamics"},
    "learning_kernels": {"jit", "learning", "plastic_dynamics"},
    "cpu_kernels": {
        "jit",
        "lanes",
        "dynamics",
        "arrival_kernels",
        "learning_kernels",
        "model",
        "poisson_kernels",
        "tally",
    },
    "poisson_kernels": {"aligned", "jit", "lanes", "philox", "dynamics", "model", "tally"},
    "cuda_kernels.simulator": set(),
    "cuda_kernels.target": {"cuda_kernels.simulator", "jit"},
    "cuda_kernels.phases": {"cuda_kernels.target", "philox", "dynamics", "model"},
    "cuda_kernels.advance": {"cuda_kernels.target", "cuda_kernels.phases", "dynamics", "model"},
    "cuda_kernels.columns": {"cuda_kernels.target", "cuda_kernels.phases", "learning", "plastic_dynamics"},
    "cuda_kernels.learn": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "cuda_kernels.columns",
        "dynamics",
        "learning",
        "model",
        "plastic_dynamics",
    },
    "cuda_kernels.construction": {"cuda_kernels.target", "construction"},
    "cuda_kernels.batch_frames": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "batch_model",
        "encoding_kernels",
        "jit",
        "model",
    },
    "cuda_kernels.batch_delivery": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "cuda_kernels.batch_frames",
        "batch_model",
        "jit",
    },
    "cuda_kernels.batch_neurons": {"batch_model", "dynamics", "jit", "model"},
    "cuda_kernels.backward_frames": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "cuda_kernels.batch_frames",
        "batch_model",
        "jit",
    },
    "cuda_kernels.backward_neurons": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "cuda_kernels.batch_frames",
        "dynamics",
        "jit",
        "model",
        "surrogates",
        "training.reset_gradient",
    },
    "cuda_kernels.backward_weights": {
        "cuda_kernels.target",
        "cuda_kernels.phases",
        "cuda_kernels.batch_frames",
        "jit",
    },
    "cuda_kernels.machine_code": {"cuda_kernels.target"},
    "construction": {"jit", "philox", "connectivity"},
    "network": {"checks", "connectivity", "distributions", "neuron_checks", "neurons", "plasticity"},
    "surrogates": {"checks", "jit"},
    "training.losses": {"checks", "decoding", "jit"},
    "training.optimizers": {"checks", "jit"},
    "training.schedules": {"checks"},
    "training.reset_gradient": {"jit"},
    "training.spikes": set(),
    "training.eventprop_kernels": {"jit"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("evsim."): path
    for folder in (ROOT / "evsim", ROOT / "io", ROOT / "cuda_kernels", ROOT / "evsim" / "training")
    for path in sorted(folder.glob("*.py"))
}
MODULES["training"] = MODULES.pop("training.__init__")


class WithoutTypes(ast.NodeTransformer):
    """Leaves out what is imported for type checkers only."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported(path, types=True):
    """Every module that a file imports, wherever in it: what `import a.b` and `from a import b` name."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree if types else WithoutTypes().visit(tree)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def imported_modules(path, types=True):
    """The modules of evsim among them, without 'evsim.'."""
    found = set()
    for name in imported(path, types):
        parts = name.split(".")
        if parts[0] == "evsim":
            dotted = [".".join(parts[1:end]) for end in (2, 3)]
            found.add(max((d for d in dotted if d in MODULES), key=len))
    return found


def place(module):
    """What the table calls a module: all of io is one place."""
    return "io" if module.startswith("io.") else module


def test_the_imports_are_found():
    """The tests below would pass if none were."""
    assert imported_modules(MODULES["simulation"]) >= {"cpu_engine", "io.recording", "build", "checks"}
    assert imported_modules(MODULES["io.recording"]) >= {"io.sonata", "io.stream"}
    assert any(name.startswith("numba.") for name in imported(MODULES["jit"]))


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_from_below_only(module):
    here = place(module)
    assert here in LEVEL, f"{module} has no level; give it one in this test and in DESIGN"
    for there in {place(name) for name in imported_modules(MODULES[module])} - ({"io"} if here == "io" else set()):
        assert LEVEL[there] < LEVEL[here], f"{module} imports {there}"
        assert there in ONLY.get(here, LEVEL), f"{module} imports {there}"


def test_no_module_imports_itself_through_others():
    graph = {module: imported_modules(path, types=False) for module, path in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)  # raises CycleError


def test_one_module_imports_numba_cuda():
    users = {module for module, path in MODULES.items() if any("numba.cuda" in name for name in imported(path))}
    assert users == {"cuda_kernels.target"}


def test_no_module_has_the_name_of_a_standard_one():
    names = {module.split(".")[-1] for module in MODULES} - {"__init__", "__main__"}
    assert not names & set(sys.stdlib_module_names)


def test_io_has_no_package_file_that_would_shadow_the_standard_io():
    assert not (ROOT / "io" / "__init__.py").exists()
    for name in ("io", "cuda_kernels"):
        assert (ROOT / "evsim" / name).is_symlink()
