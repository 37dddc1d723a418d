"""The paper's rows as the runs of an experiment."""
