"""The systems that `benchmarks.decoding` times, each run in a process of its own."""
