"""One module per group of workloads; each function measures one and answers a Result."""
