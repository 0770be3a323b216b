import sys

for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream, stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.newlines)
    print(stream.buffer, stream.buffer.raw, stream.fileno(), stream.isatty(), stream.mode, stream.name)
print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
