src / util.h
