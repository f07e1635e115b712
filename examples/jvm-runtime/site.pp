class { 'jvm_runtime':
  heap => '64m',
}
