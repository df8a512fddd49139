"""The search for good settings: many trainings, one study, chosen on validation data (extra ``tune``)."""
