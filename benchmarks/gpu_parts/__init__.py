"""The parts of `benchmarks.gpu`: their data, their processes, and what each of them measures."""
