//go:build race

package mapstore_test

const raceDetector = true
