import os
import sys

from counter import VERSION


def main():
    print("counter", VERSION, sum(int(word) for word in sys.argv[1:]), os.environ["PYTHONUNBUFFERED"], os.getcwd())
