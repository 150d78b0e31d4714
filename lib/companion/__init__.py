"""The executable book: evidence and verdicts, the build, and the experiments of its chapters."""
