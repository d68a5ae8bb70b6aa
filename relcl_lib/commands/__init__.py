"""The command line: sweeps, tables, figures, the demo. Everything else is a library."""
