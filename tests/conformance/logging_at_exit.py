import logging

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(funcName)s %(lineno)d %(module)s")
logging.info("hello")
logging.getLogger("x").warning("from x")
handler = logging.FileHandler("log.txt")
logging.getLogger().addHandler(handler)
logging.error("in the file too")
