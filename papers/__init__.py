"""One folder a reproduction: its claim, its command, the paper's numbers and ours."""
