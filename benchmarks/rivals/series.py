"""What is measured, by kind: names that the report looks up."""

PROMISE, FULL_DEPTH, LEXICAL = "promise", "full depth", "lexical branch"
STUDENT, OTHERS = "student", "others"
