import dataclasses
import inspect
import pickle


@dataclasses.dataclass
class Point:
    x: int = 1


def function():
    return 1


print(inspect.getsource(function), inspect.getsource(Point), inspect.getfile(function), inspect.getmodule(function))
print(pickle.loads(pickle.dumps(Point(3))), Point.__module__, inspect.currentframe().f_back)
