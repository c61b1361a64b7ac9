"""Recovery: notice that the data set is another one, fence, drain, rebuild if need be, reopen."""
