"""From bytes to what a script asks for: finding scripts, reading their metadata, telling what is wrong with them."""
