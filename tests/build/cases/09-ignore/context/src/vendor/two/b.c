src/vendor/two/b.c
