"""The command `responsa eval`, which measures retrieval, answers, routing and injection on data sets."""
