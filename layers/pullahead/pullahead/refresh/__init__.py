"""Copy one tag: wait for a slot, plan, copy units, publish, record the outcome."""
