"""From chapters as text to a checked site: notebooks, ledger, gate, pages, sweeps."""
