"""Work that outlives a process: jobs, the ledger that they are kept in, and who does them."""
