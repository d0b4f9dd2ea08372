package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-check" {
		os.Exit(0)
	}
	fmt.Println(os.Getuid(), os.Getenv("MODE"), runtime.GOOS)
}
