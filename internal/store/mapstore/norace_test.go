//go:build !race

package mapstore_test

const raceDetector = false
