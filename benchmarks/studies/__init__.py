"""Studies: questions that take many trainings, with their budgets, raw results and pages."""
