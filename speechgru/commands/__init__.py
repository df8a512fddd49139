"""The subcommands of ``speechgru``, one module each: ``add_arguments(parser)`` and ``run(arguments)``."""
