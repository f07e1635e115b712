# A Java runtime and a Tomcat without applications, which starts at boot.
class jvm_runtime (
  String $heap,
) {
  package { ['openjdk-17-jre-headless', 'tomcat10']:
    ensure          => installed,
    install_options => ['--no-install-recommends'],
  }

  # One tier and the serial collector: a small service is up sooner, and stays small.
  file { '/etc/default/tomcat10':
    content => "JAVA_OPTS='-Djava.awt.headless=true -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx${heap}'\n",
    mode    => '0644',
    require => Package['tomcat10'],
    notify  => Service['tomcat10'],
  }

  # The welcome page: an image's own application is the only one.
  file { '/var/lib/tomcat10/webapps/ROOT':
    ensure  => absent,
    force   => true,
    require => Package['tomcat10'],
    notify  => Service['tomcat10'],
  }

  service { 'tomcat10':
    ensure => running,
    enable => true,
  }
}
