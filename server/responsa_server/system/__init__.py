"""What the server and the command line take from the installation and the machine they run on."""
