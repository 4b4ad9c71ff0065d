"""One room per area of the runbook: facts, judgement or plan, and the commands."""
