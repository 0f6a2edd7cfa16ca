"""Stand-ins of the services that the bot talks to, for the tests and the browser sandbox."""
