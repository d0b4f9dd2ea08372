package main

import (
	"fmt"
	"os"

	"example.test/hello/internal/greet"
)

var version = "unset"

func main() {
	who := "world"
	if len(os.Args) > 1 {
		who = os.Args[1]
	}
	fmt.Println(greet.Line(who), version)
}
