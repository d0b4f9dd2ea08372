src / gone.c
