import sys

print(sys.path)
print(sorted(sys.path_importer_cache) == sorted(set(sys.path_importer_cache)))
