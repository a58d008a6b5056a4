"""Compile every kernel for every compute capability and write the table bench/kernels.md; spills are a failure.

Needs the packages of evsim[cuda], no GPU.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from evsim.cuda_kernels.kernel_table import compile_all, format_markdown

HEAD = """# What the GPU compiler makes of each kernel

Written by `python bench/kernel_table.py`, which fails where a register is spilled; a test does too. No GPU is needed.
Bytes of stack and of spilled registers are those of a thread, shared memory that of a block.
"""


def main() -> None:
    rows = compile_all()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numba", "numba-cuda", "nvidia-nvjitlink"))
    text = f"{HEAD}{packages}.\n\n{format_markdown(rows)}\n"
    Path(__file__).with_name("kernels.md").write_text(text)
    print(text)
    if any(code.spill_stores or code.spill_loads for _, code in rows):
        sys.exit("kernel_table: a kernel spills registers")


if __name__ == "__main__":
    main()
