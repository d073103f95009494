"""The paper's knob on SST-2: equality at full depth, saved compute and agreement by speed."""
