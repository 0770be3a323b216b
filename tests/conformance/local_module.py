# file helper.py: VALUE = __name__, __file__.rpartition("/")[2]
import helper

print(helper.VALUE)
