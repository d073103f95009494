"""What each command is asked to do: light dataclasses, whose fields are the command's options.

A field's annotation holds its option's help, its default is the option's default; the command line is made
of them, so each option is written once.
"""
