import logging

logging.getLogger("nobody").warning("without configuration")
